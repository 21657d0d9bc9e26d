// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface Token {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// A constant-product pool of two tokens with a fee of 0.3 %, without shares for those who fund it.
contract BenchPool {
    Token public immutable first;
    Token public immutable second;
    uint256 public firstReserve;
    uint256 public secondReserve;

    event Swap(address indexed trader, bool firstIn, uint256 amountIn, uint256 amountOut);

    constructor(address firstToken, address secondToken) {
        first = Token(firstToken);
        second = Token(secondToken);
    }

    function fund(uint256 firstAmount, uint256 secondAmount) external {
        require(first.transferFrom(msg.sender, address(this), firstAmount), "first token refused");
        require(second.transferFrom(msg.sender, address(this), secondAmount), "second token refused");
        firstReserve += firstAmount;
        secondReserve += secondAmount;
    }

    function swap(bool firstIn, uint256 amountIn) external returns (uint256 amountOut) {
        (uint256 reserveIn, uint256 reserveOut) = firstIn ? (firstReserve, secondReserve) : (secondReserve, firstReserve);
        uint256 counted = amountIn * 997;
        amountOut = (counted * reserveOut) / (reserveIn * 1000 + counted);
        (Token tokenIn, Token tokenOut) = firstIn ? (first, second) : (second, first);
        require(tokenIn.transferFrom(msg.sender, address(this), amountIn), "token refused");
        require(tokenOut.transfer(msg.sender, amountOut), "token refused");
        (firstReserve, secondReserve) =
            firstIn ? (reserveIn + amountIn, reserveOut - amountOut) : (reserveOut - amountOut, reserveIn + amountIn);
        emit Swap(msg.sender, firstIn, amountIn, amountOut);
    }
}
